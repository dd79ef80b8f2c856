"""The whole product as plain processes on one machine: what docker-compose.yml runs, without containers."""
