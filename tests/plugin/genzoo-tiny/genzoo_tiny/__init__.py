"""A small zoo beside the big one."""
