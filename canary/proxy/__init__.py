"""The data plane: the story of one request, the shadow sink, the route table in force, the worker process."""
