"""What the read-out and the calibration direction need behind them."""
