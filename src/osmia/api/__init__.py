"""Program as users see it: declarations plus run, open, build and test runs."""
