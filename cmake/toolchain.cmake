# Compiler cache and linker when present, and the flags that every target of Lastbit is built with.
find_program(LASTBIT_CCACHE ccache)
if(LASTBIT_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LASTBIT_CCACHE})
endif()
find_program(LASTBIT_MOLD mold)
if(LASTBIT_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(lastbit_flags INTERFACE)
target_compile_options(lastbit_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
  # One rounding per written operation, on every machine: no fused multiply-add that the source does not ask for.
  -ffp-contract=off)
if(LASTBIT_SCALAR)
  target_compile_options(lastbit_flags INTERFACE -fno-tree-vectorize -fno-tree-slp-vectorize)
  target_compile_definitions(lastbit_flags INTERFACE HWY_COMPILE_ONLY_SCALAR)
endif()

# Vectorised sources are compiled once for every instruction set; sanitizers look at two of them.
if(LASTBIT_LEAST_TARGETS)
  target_compile_definitions(lastbit_flags INTERFACE "HWY_DISABLED_TARGETS=(HWY_AVX3_DL|HWY_AVX3|HWY_SSSE3)")
endif()

# lastbit_precompile(TARGET HEADER...): headers that most sources of the target read. Off, every file must still compile.
function(lastbit_precompile target)
  if(LASTBIT_PCH)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()
# ccache sees through precompiled headers only with this (and CCACHE_SLOPPINESS=pch_defines,time_macros).
if(LASTBIT_PCH AND LASTBIT_CCACHE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(lastbit_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
