"""The agreements with municipalities: what is kept how long, who is served, what it costs."""
