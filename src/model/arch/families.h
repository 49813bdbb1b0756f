// SPDX-License-Identifier: Apache-2.0
// The registry's rows, one function a file of this folder.
#pragma once

#include "model/registry.h"

namespace deepshock {

Architecture DeepSeekV2Architecture();
Architecture DeepSeekV3Architecture();
Architecture Glm4MoeArchitecture();
Architecture GptOssArchitecture();
Architecture LlamaArchitecture();
Architecture MixtralArchitecture();
Architecture OlmoeArchitecture();
Architecture Qwen2Architecture();
Architecture Qwen2MoeArchitecture();
Architecture Qwen3Architecture();
Architecture Qwen3MoeArchitecture();

}  // namespace deepshock
