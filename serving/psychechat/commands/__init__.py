"""The commands that need no Ray, one a module. `psychechat.cli` mounts them."""
