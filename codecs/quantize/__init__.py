"""One quantizer core: groups, residual layers, masks, projections."""
