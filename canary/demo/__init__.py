"""The demonstration: real model servers, real traffic, the whole product, three candidates."""
