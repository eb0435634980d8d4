"""How clients speak: what a dialect is, and where the dialects are found."""
