"""What people write: a base model, TOML, what is wrong in it, snapshots."""
