"""The laboratory: a pair of gateways, a stock strongSwan client and a server in network namespaces of one machine."""
