# SPDX-License-Identifier: Apache-2.0
# The lower layers for another processor, without that processor's packages: fmt and nlohmann/json are taken as the
# headers of this machine's packages, GoogleTest from the source that its package brings.

add_library(kernels_only_fmt INTERFACE)
target_compile_definitions(kernels_only_fmt INTERFACE FMT_HEADER_ONLY)
add_library(fmt::fmt ALIAS kernels_only_fmt)

if(DEEPSHOCK_TESTS)
  set(gtest_source /usr/src/googletest/googletest)
  if(NOT EXISTS ${gtest_source}/src/gtest-all.cc)
    message(FATAL_ERROR "no ${gtest_source}/src/gtest-all.cc: install the package googletest")
  endif()
  add_library(kernels_only_gtest STATIC ${gtest_source}/src/gtest-all.cc ${gtest_source}/src/gtest_main.cc)
  target_include_directories(kernels_only_gtest SYSTEM PUBLIC ${gtest_source}/include PRIVATE ${gtest_source})
  target_link_libraries(kernels_only_gtest PUBLIC Threads::Threads)
  add_library(GTest::gtest ALIAS kernels_only_gtest)
  add_library(GTest::gtest_main ALIAS kernels_only_gtest)
endif()

deepshock_folder(base LINKS Threads::Threads fmt::fmt)
deepshock_folder(tensor LINKS ds_base)
deepshock_folder(kernels LINKS ds_tensor)

if(DEEPSHOCK_TESTS)
  # A processor of Armv8.0 has no dot product: the table must not be chosen there.
  add_test(NAME kernels_without_dotprod
    COMMAND qemu-aarch64-static -L /usr/aarch64-linux-gnu -cpu cortex-a53 $<TARGET_FILE:kernels_test>
            --gtest_filter=NeonTables.*:KernelTables.*)
  set_tests_properties(kernels_without_dotprod PROPERTIES LABELS unit TIMEOUT 900)
endif()
