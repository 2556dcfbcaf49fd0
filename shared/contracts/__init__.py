"""THE interface between services: topics, envelope, one file per event, registry, generated schemas and examples.

Change something here and run `make contracts`; what breaks a reader is refused (compatibility.py).
"""
