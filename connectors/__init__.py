"""One module per protocol; its name is the ``connector =`` of the configuration. See `hub.endpoint` for the
contract."""
