"""The HTTP server under the APIs: connections, middleware, limits, metrics."""
