import sys

from hello.text import greeting


def main():
    print(greeting(sys.argv[1]))
