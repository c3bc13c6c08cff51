"""The working folder of programs: it holds nothing but this line, and programs may list it."""
