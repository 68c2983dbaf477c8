"""How late, how steady and how right live recognition is, from the log of what it showed."""
