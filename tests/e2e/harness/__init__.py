"""What runs generated CI files here: the tools, stub actions and drivers. Traps of each tool are in its module."""
