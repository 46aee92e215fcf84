/* The C interface between Lastbit and a kernel that it validates or probes: one function in a shared library.
 *
 * Lastbit loads the library in a process of its own, calls the function once or more, and reads the outputs. Nothing
 * here needs Lastbit's library: copy this file, or declare the same structures.
 *
 *   gcc -shared -fPIC -o my_kernel.so my_kernel.c
 *   lastbit check kernel fp8_gemm --plugin my_kernel.so
 *
 * The function finds its arrays by name; `lastbit check kernel CONTRACT --describe` lists them. Inputs are read-only
 * and outputs writable memory of the host, row-major; a GPU kernel copies. All pointers are valid during the call. Each
 * array lies between pages that may not be touched, its end as close to the page behind as an alignment of 256 bytes
 * allows, and what is left between is checked afterwards.
 */
#ifndef LASTBIT_CHECK_KERNEL_PLUGIN_H
#define LASTBIT_CHECK_KERNEL_PLUGIN_H

#include <stddef.h> /* NOLINT(modernize-deprecated-headers): C, too */
#include <stdint.h> /* NOLINT(modernize-deprecated-headers): C, too */

#ifdef __cplusplus
extern "C" {
#endif

#define LASTBIT_KERNEL_ABI 1

/* What the function returns; any other value is a failure. */
#define LASTBIT_KERNEL_OK 0
#define LASTBIT_KERNEL_UNSUPPORTED 1 /* these sizes or settings are none of this kernel's: the case is skipped */

typedef struct lastbit_array {
  const char* name;     /* "scale_a" */
  const char* dtype;    /* "f32", "f64", "bf16", "f16", "e4m3", "e5m2", "u8", "u16", "u32", "i32", "i64" */
  const int64_t* shape; /* `rank` sizes */
  int32_t rank;
  void* data;      /* bf16, f16: codes in 2 bytes; e4m3, e5m2: in 1 */
  uint64_t nbytes; /* of the whole array */
} lastbit_array;

typedef struct lastbit_setting {
  const char* key; /* "promotion" */
  const char* value;
} lastbit_setting;

typedef struct lastbit_kernel_call {
  uint32_t abi;         /* LASTBIT_KERNEL_ABI of the caller */
  const char* contract; /* "fp8_gemm" */
  int32_t input_count;
  int32_t output_count;
  int32_t setting_count;
  const lastbit_array* inputs;
  const lastbit_array* outputs; /* filled with a pattern before the call */
  const lastbit_setting* settings;
  char* message; /* where the function may say why it failed, zero-terminated */
  uint64_t message_bytes;
} lastbit_kernel_call;

/* The type of the function; its name is "lastbit_kernel" unless another is asked for. */
typedef int (*lastbit_kernel_function)(const lastbit_kernel_call* call);

#ifdef __cplusplus
}
#endif

#endif
