"""How does a torch model become a bundle? Export, gate, golden rows, write – in this order, or nothing at all."""
