"""Plans the steps from the present state to the wanted one."""
