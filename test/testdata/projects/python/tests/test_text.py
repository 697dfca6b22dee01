import unittest

from hello.text import greeting


class Greeting(unittest.TestCase):
    def test_name(self):
        self.assertIn("x", greeting("x"))
