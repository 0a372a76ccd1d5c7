"""What runs generated CI files here: tools, stand-in actions, drivers. A tool's traps are in its module."""
