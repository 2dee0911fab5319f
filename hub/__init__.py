"""The Datendrehscheibe: stores what a portal hands over, translates it and delivers it to the town hall, with
proof."""

__version__ = "0.1.0"
