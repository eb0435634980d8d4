"""How clients speak: one module per dialect."""
