"""Subcommands, each a thin call of one public function."""
