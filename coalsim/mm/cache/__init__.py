"""Files, their pages in memory, and the device behind them."""
