"""The program ``mta-sendmail``: how programs of this machine hand over mail.  It starts often, and imports little."""
