"""How the page bears many visitors at once (`make load`), and thousands of requests one after the other (`make soak`)."""
