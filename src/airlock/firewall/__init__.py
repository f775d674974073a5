"""The firewall window: open for named hosts, for a stated time, closed whatever happens."""
