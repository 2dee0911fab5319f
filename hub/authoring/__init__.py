"""The tools of authors: of mappings (examples, scaffold, schema, page) and of connectors (scaffold)."""
