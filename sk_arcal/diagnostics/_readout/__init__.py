"""What the diagnostics of directions and unembeddings need behind them."""
