/* RMSNorm as a plugin of `lastbit check kernel rms_norm`: BF16 in and out, FP32 between. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check/kernel_plugin.h"

static float from_bf16(uint16_t code) {
  const uint32_t bits = (uint32_t)code << 16;
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

static uint16_t to_bf16(float value) { /* to nearest even */
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static const lastbit_array* find(const lastbit_array* arrays, int32_t count, const char* name) {
  for (int32_t i = 0; i < count; ++i)
    if (strcmp(arrays[i].name, name) == 0) return &arrays[i];
  return NULL;
}

static float setting(const lastbit_kernel_call* call, const char* key) {
  for (int32_t i = 0; i < call->setting_count; ++i)
    if (strcmp(call->settings[i].key, key) == 0) return strtof(call->settings[i].value, NULL);
  return 0;
}

int lastbit_kernel(const lastbit_kernel_call* call) {
  const lastbit_array* x = find(call->inputs, call->input_count, "x");
  const lastbit_array* weight = find(call->inputs, call->input_count, "weight");
  const lastbit_array* y = find(call->outputs, call->output_count, "y");
  if (x == NULL || weight == NULL || y == NULL) return 2;
  const int64_t tokens = x->shape[0];
  const int64_t d = x->shape[1];
  const float eps = setting(call, "eps");
  for (int64_t token = 0; token < tokens; ++token) {
    const uint16_t* row = (const uint16_t*)x->data + token * d;
    float squares = 0;
    for (int64_t i = 0; i < d; ++i) squares += from_bf16(row[i]) * from_bf16(row[i]);
    const float factor = 1 / sqrtf(squares / (float)d + eps);
    for (int64_t i = 0; i < d; ++i)
      ((uint16_t*)y->data)[token * d + i] =
          to_bf16(from_bf16(row[i]) * factor * from_bf16(((const uint16_t*)weight->data)[i]));
  }
  return LASTBIT_KERNEL_OK;
}
