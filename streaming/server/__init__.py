"""Live streams, recordings and speech over HTTP and WebSocket; models are known by protocols."""
