"""The discovery service's storage in a relational database, by SQLAlchemy Core."""
