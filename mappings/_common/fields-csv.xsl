<?xml version="1.0" encoding="UTF-8"?>
<!-- The fields as a tall table, the way Amt24 itself dumps them: group:instance:field,"value","label"; several values of one
     field joined by ", ". The hub writes CRLF. Cells are made by zelle.xsl. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:e="urn:datendrehscheibe:envelope:1">
  <xsl:import href="zelle.xsl"/>
  <xsl:output method="text" encoding="UTF-8"/>

  <xsl:template match="/">
    <xsl:apply-templates select="/e:envelope/e:fields/*/instance/*"/>
  </xsl:template>

  <xsl:template match="instance/*">
    <xsl:value-of select="concat(name(../..), ':', ../@n, ':', name(), ',')"/>
    <xsl:call-template name="zelle">
      <xsl:with-param name="text">
        <xsl:choose>
          <xsl:when test="value">
            <xsl:for-each select="value">
              <xsl:if test="position() &gt; 1">, </xsl:if>
              <xsl:value-of select="."/>
            </xsl:for-each>
          </xsl:when>
          <xsl:when test="attachment"><xsl:value-of select="@e:text"/></xsl:when>
          <xsl:otherwise><xsl:value-of select="."/></xsl:otherwise>
        </xsl:choose>
      </xsl:with-param>
    </xsl:call-template>
    <xsl:text>,</xsl:text>
    <xsl:call-template name="zelle"><xsl:with-param name="text" select="@e:label"/></xsl:call-template>
    <xsl:text>&#10;</xsl:text>
  </xsl:template>
</xsl:stylesheet>
