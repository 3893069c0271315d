"""The benchmark of steadiness: smoothers and simple rules compared on a fixed list of walkthroughs."""
