"""Pubs with one defect each, and one without any, none of which knows django_qerko."""
