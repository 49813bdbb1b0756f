# SPDX-License-Identifier: Apache-2.0
# The build's few rules, in one place.

add_library(ds_flags INTERFACE)
target_compile_options(ds_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror)
# GCC 12 warns of overlapping copies in "literal" + std::string (GCC bug 105651).
target_compile_options(ds_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
# A product and a sum are fused only where the source says so: the same numbers from every compiler.
target_compile_options(ds_flags INTERFACE -ffp-contract=off)
target_include_directories(ds_flags INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(ds_flags INTERFACE DEEPSHOCK_VERSION="${PROJECT_VERSION}")
if(DEEPSHOCK_SANITIZE)
  target_compile_options(ds_flags INTERFACE -fsanitize=${DEEPSHOCK_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(ds_flags INTERFACE -fsanitize=${DEEPSHOCK_SANITIZE})
endif()
# Coverage that guides the fuzzer costs time: the kernels, which parse nothing, go without.
add_library(ds_fuzz_coverage INTERFACE)
if(DEEPSHOCK_FUZZ)
  target_compile_options(ds_fuzz_coverage INTERFACE -fsanitize=fuzzer-no-link)
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
  deepshock_isa_rooms(sources)
  if(sources)
    add_library(ds_${name} STATIC ${sources})
    target_link_libraries(ds_${name} PUBLIC ds_flags ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS})
    if(NOT name STREQUAL "kernels")
      target_link_libraries(ds_${name} PRIVATE $<BUILD_INTERFACE:ds_fuzz_coverage>)
    endif()
  else()
    add_library(ds_${name} INTERFACE)
    target_link_libraries(ds_${name} INTERFACE ds_flags ${arg_LINKS} ${arg_PRIVATE_LINKS})
  endif()
  set_property(GLOBAL APPEND PROPERTY DEEPSHOCK_LAYERS ds_${name})
  if(DEEPSHOCK_TESTS AND tests)
    deepshock_test(${name}_test SOURCES ${tests} LINKS ds_${name})
  endif()
endfunction()

# deepshock_test(NAME SOURCES ... LINKS ... [LABEL unit]): one gtest program, one ctest entry.
function(deepshock_test name)
  cmake_parse_arguments(arg "" "LABEL" "SOURCES;LINKS" ${ARGN})
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINKS} GTest::gtest GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE
    DEEPSHOCK_SOURCE_DIR="${PROJECT_SOURCE_DIR}" DEEPSHOCK_SHARED_DATA="${DEEPSHOCK_SHARED_DATA}")
  # Optimising the tests themselves costs more time than it saves; what they test is optimised as the preset says.
  if(DEEPSHOCK_SANITIZE)
    target_compile_options(${name} PRIVATE -O0)
  else()
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  # The time limit is against hangs: ten times what the slowest takes under a sanitizer.
  set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT 900)
endfunction()

# deepshock_isa_rooms(LIST): each instruction set has its room: x_avx2.cc, x_avx512.cc, x_avx512vnni.cc,
# x_neon.cc (or a folder of that name) are compiled for it, everything else for the baseline. On another
# processor they are left out of LIST.
function(deepshock_isa_rooms list)
  set(avx2_flags -mavx2 -mfma -mf16c)
  set(avx512_flags ${avx2_flags} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(avx512vnni_flags ${avx512_flags} -mavx512vnni)
  set(neon_flags -march=armv8.2-a+dotprod)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(built avx2 avx512 avx512vnni)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set(built neon)
  else()
    set(built)
  endif()
  foreach(isa avx2 avx512 avx512vnni neon)
    set(room ${${list}})
    list(FILTER room INCLUDE REGEX "/${isa}/[^/]+$|_${isa}\\.cc$")
    if(isa IN_LIST built)
      set_source_files_properties(${room} PROPERTIES COMPILE_OPTIONS "${${isa}_flags}")
    elseif(room)
      list(REMOVE_ITEM ${list} ${room})
    endif()
  endforeach()
  set(${list} ${${list}} PARENT_SCOPE)
endfunction()

# deepshock_embed(TARGET NAME FILE...): the files' bytes become part of TARGET, as the function NAME (cmake/embed.cmake).
function(deepshock_embed target name)
  list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/ OUTPUT_VARIABLE files)
  set(out ${PROJECT_BINARY_DIR}/embedded/${name}.cc)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DNAME=${name} "-DFILES=${files}" -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed.cmake VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
