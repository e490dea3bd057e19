"""Say why a delivery was turned away: nothing here knows Django, a database or a clock."""
