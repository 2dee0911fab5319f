"""The tools of a mapping's author: examples as tests, a scaffold, a schema, a page."""
