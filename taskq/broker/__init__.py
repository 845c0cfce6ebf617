"""HOW it travels: the contract (:mod:`taskq.broker.protocol`) and the brokers that keep it."""
