"""The names a program file imports: types, intrinsics, map and hook declarations. Pure data, no engine."""
