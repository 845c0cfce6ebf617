"""The faults, a module for what they break: processes, the network, a node, a cluster, a file."""
