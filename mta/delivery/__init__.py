"""Delivery services: one file each.  ``IDeliveryService`` in mta/interfaces.py is the contract."""
