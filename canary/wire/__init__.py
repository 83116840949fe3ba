"""HTTP/1.1 on asyncio: server and client connections, framing, pools, deadlines, backpressure; knows no routes or arms."""
