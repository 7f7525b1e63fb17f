"""The kinds of source, target and transformer, one row each: what others make of them is made from the rows."""
