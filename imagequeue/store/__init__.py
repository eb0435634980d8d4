"""SQLAlchemy tables and one file of bulk queries per noun. The store never commits."""
