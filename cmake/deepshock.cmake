# SPDX-License-Identifier: Apache-2.0
# The build's few rules, in one place.

add_library(ds_flags INTERFACE)
target_compile_options(ds_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror)
target_include_directories(ds_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(ds_flags INTERFACE DEEPSHOCK_VERSION="${PROJECT_VERSION}")
if(DEEPSHOCK_SANITIZE)
  target_compile_options(ds_flags INTERFACE -fsanitize=${DEEPSHOCK_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(ds_flags INTERFACE -fsanitize=${DEEPSHOCK_SANITIZE})
endif()
if(DEEPSHOCK_FUZZ)
  target_compile_options(ds_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# deepshock_folder(NAME LINKS ... [PRIVATE_LINKS ...])
# src/NAME/**.cc becomes library ds_NAME; src/NAME/**_test.cc becomes program NAME_test,
# so that a new file needs no line here.
function(deepshock_folder name)
  cmake_parse_arguments(arg "" "" "LINKS;PRIVATE_LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(ds_${name} STATIC ${sources})
    target_link_libraries(ds_${name} PUBLIC ds_flags ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS})
  else()
    add_library(ds_${name} INTERFACE)
    target_link_libraries(ds_${name} INTERFACE ds_flags ${arg_LINKS} ${arg_PRIVATE_LINKS})
  endif()
  if(DEEPSHOCK_TESTS AND tests)
    deepshock_test(${name}_test SOURCES ${tests} LINKS ds_${name})
  endif()
endfunction()

# deepshock_test(NAME SOURCES ... LINKS ...): one gtest program, one ctest entry.
function(deepshock_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINKS} GTest::gtest GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE
    DEEPSHOCK_SOURCE_DIR="${PROJECT_SOURCE_DIR}" DEEPSHOCK_SHARED_DATA="${DEEPSHOCK_SHARED_DATA}")
  add_test(NAME ${name} COMMAND ${name})
endfunction()
